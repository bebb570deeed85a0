"""Images in, captions out; the store of captions; what is done to captions."""
