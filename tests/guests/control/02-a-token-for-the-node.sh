hale token
