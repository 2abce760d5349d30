"""What ``import mmkgc`` offers: runs, their results, and models that answer, as a notebook uses them."""
