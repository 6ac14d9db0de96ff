"""Isolation, proved from outside: everybody who must not, at every door, with another tenant's objects in hand."""
