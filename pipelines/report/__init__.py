"""One self-contained HTML page that tells what a run did."""
