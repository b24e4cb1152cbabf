"""Files on this machine or at an address: whole or not there, told in words where they cannot be read."""
