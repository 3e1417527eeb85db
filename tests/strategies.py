"""Random inputs that several tests draw from."""

from __future__ import annotations

from hypothesis import strategies as st

# Text that JSON and YAML both can escape: YAML has no surrogate pairs.
plain_text = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=("Cs",)), max_size=12)

json_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | plain_text
)

json_values = st.recursive(
    json_scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_text, inner, max_size=4),
    max_leaves=12,
)
"""Values that JSON text can hold, nested a few levels deep."""
