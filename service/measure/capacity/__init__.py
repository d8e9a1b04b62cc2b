"""What a deployment needs: autoscaling targets and limits from the measured capacity of one model server."""
