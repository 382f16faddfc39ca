"""What the processes say to each other, and the sockets that carry it."""
