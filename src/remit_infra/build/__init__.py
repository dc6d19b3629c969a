"""What is deployed: the zip of the functions and the image of the tasks."""
