"""``python -m hmavel.cli``, where no script is on the path."""

import sys

from hmavel.cli import main

sys.exit(main())
