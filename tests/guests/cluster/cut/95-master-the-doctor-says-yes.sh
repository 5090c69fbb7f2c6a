hale doctor
