"""`farmlokal import FILE`, over HTTP, and `farmlokal imports ...`, on the database."""
