"""Models of the files about a night: they compute nothing and import nothing that makes them."""
