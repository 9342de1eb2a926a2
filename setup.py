"""What pyproject.toml cannot say: the wheel carries the notebooks, the stored tables and
example photos, which lie beside the package here and in it there (`petweak.data.files.shipped`)."""

from setuptools import find_packages, setup

BESIDE = {"petweak.notebooks": "notebooks", "petweak.figures": "figures"}
setup(packages=[*find_packages(include=["petweak*"]), *BESIDE], package_dir=BESIDE)
