"""Over a real server and real sockets."""
