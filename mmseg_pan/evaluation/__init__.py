"""What MMSeg's metrics lack."""
