"""What administrators ask of an agent: whom it talks to, how safe it is set up, what to send to whom helps."""
