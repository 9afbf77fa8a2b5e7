"""What the client tests are made of; standard library only."""
