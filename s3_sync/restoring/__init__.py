"""Bringing a remote version back into Swift: what to write (plan), writing it, and who may when. No WSGI here."""
