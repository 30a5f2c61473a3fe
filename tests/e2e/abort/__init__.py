"""Every way a client leaves, for every route: one matrix that a new route joins by registration."""
