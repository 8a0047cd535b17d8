"""`farmlokal webhooks ...`: one module per group of its commands."""
