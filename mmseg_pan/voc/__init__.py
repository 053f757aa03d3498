"""Converting the official archives of VOC 2012 + SBD; the archive for the test server."""
