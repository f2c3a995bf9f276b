"""What each runtime executes and keeps in memory."""
