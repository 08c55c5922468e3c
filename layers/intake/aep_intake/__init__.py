"""One Adobe Experience Platform batch for every arrival: the code behind the functions."""
