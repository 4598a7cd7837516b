"""Options of the command line, made from the fields of settings classes: each is declared once, where its field is."""
