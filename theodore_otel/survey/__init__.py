"""What an application's source says, read without running it."""
