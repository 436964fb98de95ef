#!/bin/bash
# Each bug that is seeded into the model of leased pools is found.
set -euo pipefail

"$(dirname "$0")/run" bugs
