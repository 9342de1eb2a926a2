"""petweak: how little labelling does it take to segment pets?"""

from petweak.allocator import keep_memory

__version__ = "0.1.0"

keep_memory()
