"""prefboost: align language models with scored preference data.

The public names load on first use, so that importing the package stays fast and loads no torch.
"""

from __future__ import annotations

__version__ = "0.1.0"
