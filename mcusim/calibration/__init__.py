"""From counted and measured runs to profiles and boards, with the error on what was not fitted."""
