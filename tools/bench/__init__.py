"""`make bench`: what requests cost, and that it does not grow. Not part of what is deployed."""
