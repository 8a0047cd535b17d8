"""Ways by which usual requests are answered before Sanic makes requests of them."""
