"""Users whose rights to files are checked, and small disks: for tests that run as root, too."""

import ctypes
import os


def obey_file_modes() -> None:
    """Give up root's right to write everywhere, in this process (``preexec_fn``)."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        libc.capget(header, sets)
        for index in (0, 1):
            sets[index] &= ~6  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.capset(header, sets)
