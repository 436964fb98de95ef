#!/bin/bash
# The model of leased pools has no error in any scenario.
set -euo pipefail

run=$(dirname "$0")/run
"$run" checks
"$run" scenarios
