"""How bytes come in: sockets, files and HTTP, shared by all systems; none of them knows a vendor."""
