"""The gateway: the only way in. Reviewed by hand: template.yaml. Derived from the contract: routes.py."""
