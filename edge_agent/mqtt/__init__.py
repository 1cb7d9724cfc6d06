"""What connectors that speak MQTT share: connection, frames, decoding, commands. Imports paho only when it connects."""
