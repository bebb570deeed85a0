"""Work on many images beyond one process: Ray Data's pool of actors (extra: tadp-cli[ray])."""
