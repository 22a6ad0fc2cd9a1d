"""What runs in one process between the phone systems and the database: `hub.py` composes the other modules."""
