"""Whether a server keeps the stream contract, seen from outside: any server, in any language.

Beside the house: knows the contract and the client library alone, and nothing of the server's rooms.
"""
