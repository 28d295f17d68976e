"""Pages in a real browser: the distribution's Chromium, which is installed where it is missing."""
