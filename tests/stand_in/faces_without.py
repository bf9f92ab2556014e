"""Write a face table without the identities of the stand-in, for all training.

python tests/stand_in/faces_without.py faces.parquet -o faces_without_stand_in.parquet
"""

import argparse
from pathlib import Path

from lineage import write_face_table_without

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="a face table of `miex faces`")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    for reason, count in write_face_table_without(options.table, options.out).items():
        print(f"{count} faces left out: {reason}")
