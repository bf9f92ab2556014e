"""AU pairs, and the Parquet table in which any AU source hands them over."""
