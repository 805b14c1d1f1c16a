"""The gateway, the only entry point. Reviewed by hand: template.yaml. Derived from the contract: routes.py."""
