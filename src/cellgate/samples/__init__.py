"""Sample data written for Cellgate, and the demo that trains on them."""
