"""OPC UA: what connectors/opcua.py needs to keep one session alive, subscribe, read, write and call."""
