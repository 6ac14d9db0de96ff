"""What this process measures of itself: names, instruments, and the forms in which others read them."""
