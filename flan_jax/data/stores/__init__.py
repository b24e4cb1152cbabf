"""Token stores: columns of ids on disk, checked, on this machine or at an address."""
