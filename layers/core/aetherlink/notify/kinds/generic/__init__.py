"""Any HTTPS endpoint, as Standard Webhooks shapes it; signed by notify/signing.py."""
