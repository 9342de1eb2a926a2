"""Every photo and trimap of the real sets is decoded; `make test` takes one of six."""

from __future__ import annotations

import pytest

from petweak.data.oxford_pets import check, read_pets


@pytest.mark.parametrize("folder", ["data", "data37"])
def test_every_photo_is_read_without_a_fault_or_doubt(real_photos, folder):
    pets = read_pets(real_photos.with_name(folder))
    checked = check(pets)
    assert len(checked) == len(pets) and not checked.quarantine and not checked.doubts
