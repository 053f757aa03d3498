"""VOC 2012 + SBD from the official archives, and the test server's archive."""
